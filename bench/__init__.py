"""The speed figures of Handrail: `python -m bench` measures it against its floor and a bare framework endpoint."""
