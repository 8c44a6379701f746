"""The targets that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from streams.delivery.alertmanager import Alertmanager
from streams.delivery.apprise_target import AddressError, AppriseTarget
from streams.delivery.target import Target
from streams.settings import NotifySettings, SettingsError


def targets_of(settings: NotifySettings, now_ms: Callable[[], int]) -> list[Target]:
    """All targets; none where none are set.

    Raises:
        SettingsError: an address cannot be used, or the same is there twice.
    """
    found: list[Target] = []
    for number, url in enumerate(settings.alertmanagers(), start=1):
        name = "alertmanager" if number == 1 else f"alertmanager-{number}"
        found.append(Alertmanager(url, now_ms, settings.timeout_seconds, name))
    for number, url in enumerate(settings.apprise(), start=1):
        try:
            found.append(AppriseTarget(url, settings.timeout_seconds))
        except AddressError as error:
            raise SettingsError(f"notify.apprise_urls, address {number}: {error}") from None
    names = [target.name for target in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"notify.apprise_urls has an address twice: {', '.join(sorted(twice))}")
    return found
