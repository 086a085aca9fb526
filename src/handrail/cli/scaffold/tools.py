"""What the agent can do. A tool is a typed function with a docstring; the model reads both."""

from typing import Any

from handrail import ToolContext, ToolError, tool

from .library import find, loans_of


# `context` is filled in by Handrail and hidden from the model. It says who is talking, so a tool can act in that
# person's name and in nobody else's.
@tool(effect="read")
def my_loans(context: ToolContext) -> list[str]:
    """List what the reader has borrowed, with due dates."""
    loans = loans_of(context.principal.subject)
    return [f"{loan.number}: {loan.title}, due on {loan.due:%d %B}" for loan in loans]


@tool(effect="read")
def find_loan(loan_number: str, context: ToolContext) -> dict[str, Any]:
    """Look up one loan of the reader.

    Args:
        loan_number: the number on the receipt, such as L101
    """
    loan = find(context.principal.subject, loan_number)
    if loan is None:
        return {"found": False}
    return {"found": True, "title": loan.title, "due": f"{loan.due:%d %B}", "renewable": loan.is_renewable}


# `write` says that it changes something: it runs alone, is written down before it happens, and is never done twice.
# Leave `effect` out and a tool counts as a write.
@tool(effect="write")
def renew(loan_number: str, context: ToolContext) -> dict[str, Any]:
    """Renew one loan of the reader by three weeks.

    Args:
        loan_number: the number on the receipt, such as L101
    """
    loan = find(context.principal.subject, loan_number)
    # The text of a ToolError is for the agent and the reader; that of any other exception is not shown to them.
    if loan is None:
        raise ToolError(f"you have no loan {loan_number}")
    if not loan.is_renewable:
        raise ToolError(f"{loan.title} can't be renewed any more")
    loan.renew()
    return {"title": loan.title, "due": f"{loan.due:%d %B}"}
