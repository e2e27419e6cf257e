"""Profiles of one ``Hooks``: TLS and headers that webhooks share, prepared once."""

from __future__ import annotations

from collections.abc import Mapping
from ssl import SSLContext
from typing import Final, NamedTuple

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.targets.profile import Profile
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.fresh_headers import FreshHeaders


class _Shared(NamedTuple):
    """What a profile gives its webhooks."""

    ssl: SSLContext | None
    headers: Mapping[str, str]
    fresh: FreshHeaders | None


_NONE: Final = _Shared(None, {}, None)


class Profiles:
    """Makes the endpoints of webhooks, with what their profiles give them.

    Args:
        profiles: by name.

    Raises:
        ConfigError: no mapping of names to profiles.
    """

    __slots__ = ("_shared",)

    def __init__(self, profiles: Mapping[str, Profile] | None = None) -> None:
        if not isinstance(profiles, Mapping | None):
            raise ConfigError("profiles", profiles, "give a mapping of names to Profile objects")
        self._shared: dict[str, _Shared] = {}
        for name, profile in (profiles or {}).items():
            if not isinstance(name, str) or not name:
                raise ConfigError("profiles", name, "give text as a profile's name")
            if not isinstance(profile, Profile):
                raise ConfigError(f"profiles[{name!r}]", profile, "give a Profile(ssl=, headers=)")
            self._shared[name] = _prepare(profile)

    def check(self, webhook: Webhook) -> None:
        """Check that a webhook's profile is there and fits it.

        Raises:
            ConfigError: it is not, or both have a function that makes headers.
        """
        if webhook.profile is None:
            return
        shared = self._shared.get(webhook.profile)
        if shared is None:
            known = ", ".join(map(repr, self._shared)) or "none"
            advice = f"not in Hooks(profiles=...); known are {known}"
            raise ConfigError("Webhook.profile", webhook.profile, advice)
        if shared.fresh is not None and callable(webhook.headers):
            advice = "it makes headers by a function, as this webhook does; leave one of them out"
            raise ConfigError("Webhook.profile", webhook.profile, advice)

    def endpoint(self, webhook: Webhook, settings: Settings) -> Endpoint:
        """Return the endpoint of a webhook that was checked."""
        shared = _NONE if webhook.profile is None else self._shared[webhook.profile]
        return Endpoint(webhook, settings, shared.ssl, shared.headers, shared.fresh)


def _prepare(profile: Profile) -> _Shared:
    if callable(profile.headers):
        fresh = FreshHeaders("Profile.headers", profile.headers, profile.checked_headers)
        return _Shared(profile.ssl, {}, fresh)
    return _Shared(profile.ssl, profile.headers, None)
