"""Captions of generated videos: scenes, good paraphrases of them, and the bad captions that people hand in."""

from __future__ import annotations

from random import Random
from typing import Final

_SUBJECTS: Final = (
    "a golden retriever", "an elderly fisherman", "two children", "a red vintage tram", "a barista", "a humpback whale",
    "a paper lantern", "a street violinist", "a delivery robot", "a flock of starlings", "a ceramic teapot",
    "a woman in a yellow raincoat", "a mountain biker", "a sleeping cat", "a glass elevator", "an origami crane",
)  # fmt: skip
_ACTIONS: Final = (
    "turns slowly towards the camera", "crosses from left to right", "drifts through the frame", "stops and looks up",
    "spins twice and comes to rest", "moves away into the distance", "leans against the railing", "shakes off the rain",
    "waits for the light to change", "dissolves into falling leaves",
)  # fmt: skip
_PLACES: Final = (
    "on a wet cobbled street", "beside a frozen lake", "in a crowded night market", "under a concrete overpass",
    "in a sunlit kitchen", "above a sea of clouds", "at the edge of a wheat field", "inside an empty train station",
    "on a rooftop at dusk", "between tall bookshelves",
)  # fmt: skip
_SHOTS: Final = (
    "handheld close-up", "slow aerial shot", "static wide shot", "tracking shot at eye level", "low-angle pan",
    "shallow depth of field", "time-lapse", "soft backlight with lens flare",
)  # fmt: skip
_OPENERS: Final = ("", "", "The clip shows how ", "We see how ", "In this video, ")
_GENERIC: Final = ("a video", "good", "nice video of a thing", "asdf asdf", "someone is doing something", "video clip")


def draw_scene(rng: Random) -> tuple[str, ...]:
    """Subject, action, place and shot."""
    return rng.choice(_SUBJECTS), rng.choice(_ACTIONS), rng.choice(_PLACES), rng.choice(_SHOTS)


def caption_of(scene: tuple[str, ...]) -> str:
    """The reference caption of a scene.

    >>> caption_of(("a sleeping cat", "stops and looks up", "in a sunlit kitchen", "time-lapse"))
    'A sleeping cat stops and looks up in a sunlit kitchen; time-lapse.'
    """
    subject, action, place, shot = scene
    return f"{subject[0].upper()}{subject[1:]} {action} {place}; {shot}."


def paraphrase(rng: Random, scene: tuple[str, ...]) -> str:
    """The same scene in other words and order, as a good labeler would write it."""
    subject, action, place, shot = scene
    opener = rng.choice(_OPENERS)
    body = rng.choice((f"{subject} {action} {place}", f"{place}, {subject} {action}", f"{subject} {place} {action}"))
    ending = rng.choice((f", filmed as a {shot}.", f" ({shot}).", f". Camera: {shot}.", "."))
    text = f"{opener}{body}{ending}"
    return text[0].upper() + text[1:]


def spoil(rng: Random, scene: tuple[str, ...], constant: int | None) -> str:
    """A caption nobody accepts: generic, cut short, or of another scene; always the same one for a constant spammer."""
    if constant is not None:
        return _GENERIC[constant % len(_GENERIC)]
    form = rng.random()
    if form < 0.4:
        return rng.choice(_GENERIC)
    if form < 0.7:
        return scene[0]
    return caption_of((rng.choice([s for s in _SUBJECTS if s != scene[0]]), *draw_scene(rng)[1:]))
