"""`python -m bench.boundary`: what was not as it should be, then the figures as one line of JSON."""

import asyncio
import json
import logging

from bench.boundary.run import LEAST_BENIGN, measure


def main() -> int:
    logging.disable(logging.WARNING)
    report = asyncio.run(measure())
    for each in report.benign:
        if not each.is_done:
            print(f"not done: {each.task.name}\n  effects {list(each.effects)}; held {list(each.held)}")
    for each in report.attacks:
        if each.unauthorised:
            print(f"unauthorised: {each.task.name}\n  {each.unauthorised}")
    figures = report.figures()
    print(json.dumps(figures))
    return int(figures["unauthorised"] > 0 or figures["benign_rate"] < LEAST_BENIGN)


if __name__ == "__main__":
    raise SystemExit(main())
