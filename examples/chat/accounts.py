"""Accounts in memory: sign-up, verification by mail, sign-in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from chat.wire import InvalidRequestError, now
from relaybox_hooks import Session, User
from relaybox_hooks.events import AuthData

#: Public id of the application, in every session.
APP_PID: Final = "chat-example"

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,180}")
_SIGNED_IN_FOR: Final = 12 * 3600.0
_CODE_TRIES: Final = 5
_PASSWORD_LENGTH: Final = 8


@dataclass(slots=True, kw_only=True, eq=False)
class Account:
    """Account of a user. Only this module uses the password hash and the code."""

    email: str
    username: str
    password: Password = field(repr=False)
    code: str = field(repr=False)
    code_tries: int = _CODE_TRIES
    id: str = field(default_factory=lambda: str(uuid4()))
    created_at: str = field(default_factory=now)
    verified_at: str | None = None

    def user(self, *, online: bool) -> User:
        """Return the part of the account that goes into sessions: an explicit list of fields."""
        return User(
            id=self.id,
            client_id=self.id,
            created_at=self.created_at,
            username=self.username,
            is_online=online,
        )

    def auth_session(self, exp: float | None = None) -> Session:
        """Return the session of sign-up, verification and sign-in, without a connection."""
        return Session(
            app_pid=APP_PID,
            client_id=self.id,
            timestamp=now(),
            exp=exp,
            user=self.user(online=False),
        )

    def auth_data(self) -> AuthData:
        return {
            "identities": [],
            "factors": [],
            "authMfaEnabled": False,
            "email": self.email,
            "verifiedAt": self.verified_at,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """Salted hash of a password."""

    salt: bytes
    digest: bytes

    @classmethod
    async def of(cls, password: str) -> Password:
        salt = secrets.token_bytes(16)
        return cls(salt, await _scrypt(password, salt))

    async def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, await _scrypt(password, self.salt))


async def _scrypt(password: str, salt: bytes) -> bytes:
    """Hash in a thread, because scrypt is slow by design; parameters as OWASP recommends."""
    return await asyncio.to_thread(
        hashlib.scrypt, password.encode(), salt=salt, n=2**14, r=8, p=5, dklen=32
    )


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Login of an account, identified by a token."""

    account: Account
    exp: float


class Accounts:
    """Accounts by e-mail address, and the tokens of current logins."""

    def __init__(self) -> None:
        self._by_email: dict[str, Account] = {}
        self._signed_in: dict[str, SignedIn] = {}
        self._no_password = Password(b"", b"")

    async def sign_up(self, email: str, username: str, password: str) -> Account:
        """Create an account with a code to mail; replaces an unverified account."""
        if not _EMAIL.fullmatch(email):
            raise InvalidRequestError("that is not an e-mail address")
        if len(password) < _PASSWORD_LENGTH:
            raise InvalidRequestError(f"the password needs at least {_PASSWORD_LENGTH} characters")
        hashed = await Password.of(password)
        known = self._by_email.get(email.casefold())
        if known is not None and known.verified_at is not None:
            raise InvalidRequestError("that address has an account: sign in")
        for other in self._by_email.values():
            if other is not known and other.username.casefold() == username.casefold():
                raise InvalidRequestError("that name is taken")
        account = Account(
            email=email,
            username=username,
            password=hashed,
            code=f"{secrets.randbelow(1_000_000):06}",
        )
        self._by_email[email.casefold()] = account
        return account

    def verify(self, email: str, code: str) -> Account:
        """Check a mailed code; a few wrong attempts invalidate it."""
        account = self._by_email.get(email.casefold())
        if account is None or account.verified_at is not None or not account.code_tries:
            raise InvalidRequestError("nothing to verify: sign up, or sign in")
        account.code_tries -= 1
        if not hmac.compare_digest(account.code.encode(), code.encode()):
            raise InvalidRequestError("that code is wrong")
        account.verified_at = now()
        return account

    async def sign_in(self, email: str, password: str) -> tuple[str, SignedIn]:
        """Return a token for the websocket. A wrong address takes as long as a wrong password."""
        account = self._by_email.get(email.casefold())
        stored = account.password if account is not None else self._no_password
        if not await stored.matches(password) or account is None:
            raise InvalidRequestError("the address or the password is wrong", 401)
        if account.verified_at is None:
            raise InvalidRequestError("verify your address first", 401)
        moment = time.time()
        self._signed_in = {t: s for t, s in self._signed_in.items() if s.exp > moment}
        token = secrets.token_urlsafe(32)
        signed_in = self._signed_in[token] = SignedIn(account, moment + _SIGNED_IN_FOR)
        return token, signed_in

    def holder_of(self, token: str) -> SignedIn:
        signed_in = self._signed_in.get(token)
        if signed_in is None or signed_in.exp <= time.time():
            raise InvalidRequestError("sign in again", 401)
        return signed_in
