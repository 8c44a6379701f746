"""What can be told of free-text answers without knowing what is right: repetition, shape, words, pace.

Every trait is one number an answer, or None where there is nothing to tell. No language is assumed and there is no
dictionary: what others write is the dictionary. Nothing here judges; `detectors.labeler_suspicion` does.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from detectors.sketches import hash64
from detectors.timing import TOO_FAST

#: An answer is held against so many earlier ones of its labeler, so that who has answered more is not found more alike.
EARLIER: Final = 20
#: Characters of a shingle: about a word, so that alike means alike in wording and not in letters.
SHINGLE: Final = 5
_WORD: Final = re.compile(r"\w+")

Column = list[float | None]


class Given(NamedTuple):
    """One free-text answer."""

    labeler_id: str
    vendor_id: str
    task_id: str
    text: str
    seconds: float | None = None
    """Trusted time, None where there is none."""
    p_value: float | None = None
    """Rank of that time beside its forecast (`detectors.timing.Timing`)."""


def words(text: str) -> list[str]:
    """Words in lower case, without marks.

    >>> words("Een man, op een FIETS.")
    ['een', 'man', 'op', 'een', 'fiets']
    """
    return _WORD.findall(text.casefold())


def shingles(text: str) -> frozenset[str]:
    """All stretches of `SHINGLE` characters (Broder 1997); of a shorter text, the text.

    >>> sorted(shingles("a red car"))
    [' red ', 'a red', 'd car', 'ed ca', 'red c']
    """
    plain = " ".join(words(text)) or text.strip()
    return frozenset(plain[at : at + SHINGLE] for at in range(max(len(plain) - SHINGLE + 1, 1)))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's coefficient of two sets of shingles: 1 the same, 0 nothing in common.

    >>> round(likeness(shingles("a man rides a horse"), shingles("a man rides a house")), 2)
    0.67
    """
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def told(text: str, earlier: Sequence[str]) -> float:
    """Part of a text that is news to who knows the earlier ones: its packed size with them over that without them.

    (R. Cilibrasi and P. Vitányi, *Clustering by Compression*, IEEE Trans. Inf. Theory 51, 2005. Bytes a character
    would not do: short texts pack badly, and would pass for news whatever they repeat.)

    >>> sentence = "Een man rijdt op een fiets."
    >>> round(told(sentence, ["Twee honden in zee"]), 2), round(told(sentence, [sentence]), 2)
    (0.93, 0.18)
    """
    return _packed(text, "\n".join(earlier)) / _packed(text, "")


def _packed(text: str, known: str) -> int:
    """Bytes of the text, packed by who knows another one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=known.encode())
    return len(packer.compress(text.encode()) + packer.flush())


def repetition(answers: Sequence[Given]) -> dict[str, Column]:
    """How much an answer is like earlier ones of its labeler to other tasks; None for the first.

    ``repeated``: the same word for word (`repeated_answer_share`, one answer at a time); ``near``: the most alike of
    the latest `EARLIER`; ``told``: the part that is news to who knows those.
    """
    said: defaultdict[str, dict[int, str]] = defaultdict(dict)
    latest: defaultdict[str, deque[tuple[str, str, frozenset[str]]]] = defaultdict(lambda: deque(maxlen=EARLIER))
    columns: dict[str, Column] = {"repeated": [], "near": [], "told": []}
    for given in answers:
        same = hash64(" ".join(words(given.text)) or given.text.strip())
        first_task = said[given.labeler_id].setdefault(same, given.task_id)
        mine = shingles(given.text)
        own = latest[given.labeler_id]
        others = [(text, theirs) for task_id, text, theirs in own if task_id != given.task_id]
        columns["repeated"].append(float(first_task != given.task_id) if others else None)
        columns["near"].append(max(likeness(mine, theirs) for _, theirs in others) if others else None)
        columns["told"].append(told(given.text, [text for text, _ in others]) if others else None)
        own.append((given.task_id, given.text, mine))
    return columns


def shape(answers: Sequence[Given]) -> dict[str, Column]:
    """What a text looks like: ``length`` and ``longest_word`` (logarithms), ``longest_run`` of one character (the
    same), and of its characters the shares ``upper``, ``digits``, and ``marks`` (neither letter, digit nor blank)."""
    columns: dict[str, Column] = {
        name: [] for name in ("length", "longest_word", "longest_run", "upper", "digits", "marks")
    }
    for given in answers:
        text = given.text.strip()
        longest_word = max((len(word) for word in words(text)), default=0)
        longest_run = max((len(list(run)) for _, run in groupby(text)), default=0)
        columns["length"].append(math.log1p(len(text)))
        columns["longest_word"].append(math.log1p(longest_word))
        columns["longest_run"].append(math.log1p(longest_run))
        columns["upper"].append(_share(text, str.isupper))
        columns["digits"].append(_share(text, str.isdigit))
        columns["marks"].append(_share(text, lambda one: not (one.isalnum() or one.isspace())))
    return columns


def wording(answers: Sequence[Given]) -> dict[str, Column]:
    """An answer's words beside those of other labelers. A word weighs the more, the fewer of them use it anywhere.

    ``strange``: mean weight of its words, ln(labelers / those who use it); ``shared``: the part of that weight that is
    in words which others, too, used for this task.
    """
    users: defaultdict[str, set[str]] = defaultdict(set)
    on_task: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_task: defaultdict[str, set[str]] = defaultdict(set)
    own_on_task: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for given, used in _used(answers):
        by_task[given.task_id].add(given.labeler_id)
        on_task[given.task_id].update(used)
        own_on_task[given.task_id, given.labeler_id].update(used)
        for word in used:
            users[word].add(given.labeler_id)
    labelers = len({given.labeler_id for given in answers})
    columns: dict[str, Column] = {"strange": [], "shared": []}
    for given, used in _used(answers):
        weights = {word: math.log(labelers / len(users[word])) for word in used}
        total = sum(weights.values())
        columns["strange"].append(total / len(used) if used else None)
        if total <= 0.0 or len(by_task[given.task_id]) < 2:
            columns["shared"].append(None)
            continue
        everybody, own = on_task[given.task_id], own_on_task[given.task_id, given.labeler_id]
        columns["shared"].append(sum(weights[word] for word in used if everybody[word] > own[word]) / total)
    return columns


def pace(answers: Sequence[Given]) -> dict[str, Column]:
    """``too_fast``: whether the time is unusually short for this labeler and work (`too_fast_share`, one at a time);
    ``typing``: logarithm of characters a second."""
    columns: dict[str, Column] = {"too_fast": [], "typing": []}
    for given in answers:
        columns["too_fast"].append(None if given.p_value is None else float(given.p_value <= TOO_FAST))
        known = given.seconds is not None and given.seconds > 0.0
        columns["typing"].append(math.log((1 + len(given.text)) / given.seconds) if known and given.seconds else None)
    return columns


def _used(answers: Sequence[Given]) -> Iterator[tuple[Given, list[str]]]:
    """Each answer with the words in it, each once, in a fixed order."""
    for given in answers:
        yield given, list(dict.fromkeys(words(given.text)))


def _share(text: str, is_such: Callable[[str], bool]) -> float:
    return sum(map(is_such, text)) / max(len(text), 1)
