"""What a person can do about an error: a sentence for each status."""

from __future__ import annotations

ADVICE = {
    400: "Change the filter or the address and ask again.",
    403: "Log in as somebody who may, or ask an administrator for a key with another role.",
    404: "It may have been deleted, or belong to somebody else. Go back to the list it was in.",
    405: "This address takes other requests: see below.",
    409: "See what state it is in now; it may be possible later, or from another state.",
    412: "Somebody changed it since you opened the form. What you typed is kept: look at what is there now, and save "
    "again if you still want to.",
    413: "Send less at once, or ask an administrator to raise the limit.",
    415: "Send it as another type.",
    422: "Correct what is named below and send it again.",
    429: "Wait a moment, then reload the page.",
    500: "Nothing that you did. Try again; if it stays, tell an administrator the request's id.",
    503: "Wait a moment, then reload the page.",
    504: "It took too long. Look whether it was done before you send it again.",
}


def advice_for(status: int) -> str:
    """The sentence; an empty one where there is nothing to say."""
    return ADVICE.get(status, ADVICE[500] if status >= 500 else "")
