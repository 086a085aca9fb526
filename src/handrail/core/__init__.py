"""What at least two rooms share: ids, messages, tools, models, principals, time, errors. No I/O."""
