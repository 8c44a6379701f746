"""Words for who it was that an alert is about, and how others did meanwhile."""

from __future__ import annotations

from typing import Final

from detectors.explain import Meanwhile, Others, Summary, Verdict
from streams.safe_text import enumeration, shown

_HOW: Final[dict[Others, str]] = {
    Others.WELL: "are well",
    Others.CHANGED: "got as much worse",
    Others.UNKNOWN: "cannot be compared (too few answers, or only partly affected)",
}


def who(why: Summary) -> str:
    """Who or what changed; names are freed of what means something to a chat."""
    names = {one.dimension: shown(one.value) for one in reversed(why.named) if one.dimension != "labeler"}
    vendor = f" of vendor {names['vendor']}" if "vendor" in names else ""
    kind = f" in {names['task_type']}" if "task_type" in names else ""
    match why.verdict:
        case Verdict.LABELERS:
            labelers = [one.value for one in why.named if one.dimension == "labeler"]
            return f"labeler{'s' if len(labelers) > 1 else ''} {enumeration(labelers)}"
        case Verdict.VENDOR | Verdict.TASK_TYPE:
            return f"all labelers{vendor}{kind} alike"
        case Verdict.CLASS_PAIR:
            true, answer = names["true_class"], names.get("answer", "something else")
            taken = f"{true} and {answer} are swapped" if why.swapped else f"{true} is taken for {answer}"
            return f"{taken}{kind}, by everyone{vendor} alike"
        case Verdict.EVERYONE:
            return "everyone alike, nothing narrower"
        case Verdict.MIX:
            return "nobody answers otherwise; the work, or who does it, is another"
        case Verdict.UNCLEAR:
            return "nobody in particular, as far as can be told by now"


def share(of_change: float) -> str:
    """How much of the change that is.

    >>> share(0.83), share(1.2)
    ('which is 83 % of the change', 'which is all of the change')
    """
    return "which is all of the change" if of_change >= 0.95 else f"which is {of_change * 100:.0f} % of the change"


def others_did(meanwhile: Meanwhile) -> str:
    """How others did while a vendor's work on a project changed.

    >>> others_did(Meanwhile("acme", Others.WELL, Others.WELL))
    "other vendors on the project are well; acme's other projects are well"
    """
    vendor = shown(meanwhile.vendor_id)
    project, elsewhere = _HOW[meanwhile.of_project], _HOW[meanwhile.of_vendor]
    return f"other vendors on the project {project}; {vendor}'s other projects {elsewhere}"
