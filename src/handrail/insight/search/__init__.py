"""Search: conversations are found by words that were said in them, in an index that tells nobody the words.

Of the text that staff may read (identifiers taken out of it) each word is kept as 30 bits of an HMAC under a key of the
tenant; identifiers are kept as 16 bits, so few that the conversation itself must be opened to be sure. Every find is
confirmed that way, so what has been erased can't be found, whatever a copy of the index says.

Acts in the background, after a conversation was counted, and when somebody searches. Open: a broken or late index stops
no turn; it is counted, and who searches is told how much is not in it yet.
"""

from handrail.insight.search.blind import SearchKey, SearchKeys
from handrail.insight.search.matching import Part, around, first_match
from handrail.insight.search.query import Query, form_of, is_same, query_of
from handrail.insight.search.store import Entry, Filters, Known, Pending, SearchStore, Waiting
from handrail.insight.search.words import is_told, words_in

__all__ = [
    "Entry",
    "Filters",
    "Known",
    "Part",
    "Pending",
    "Query",
    "SearchKey",
    "SearchKeys",
    "SearchStore",
    "Waiting",
    "around",
    "first_match",
    "form_of",
    "is_same",
    "is_told",
    "query_of",
    "words_in",
]
