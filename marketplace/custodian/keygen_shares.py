"""The shares that dealers give this holder: opened, and held against their dealings."""

from __future__ import annotations

from marketplace.custodian.keygen_seats import Seats, refused
from marketplace.custodian.keys import Keys
from marketplace.errors import Refusal
from marketplace.wire import hpke
from marketplace.wire.keygen import Said, dealing_of
from ml.homomorphic.curve import SCALAR_BYTES
from ml.homomorphic.keygen import DealingInvalid, is_share

X25519 = 1


class ReceivedShares:
    """What is sealed to one custodian, at one place."""

    def __init__(self, keys: Keys, place: int) -> None:
        self._keys = keys
        self._place = place

    def complaints(self, seats: Seats, said: Said) -> list[int]:
        """Dealers whose share does not open, or is not the dealing's; ascending.

        A dealing that everybody sees to be bad needs no complaint.
        """
        return [dealer for dealer in sorted(said.dealt) if not self._is_good(seats, said, dealer)]

    def of(self, seats: Seats, said: Said, dealer: int) -> int:
        """What a qualified dealer gave this holder: in its envelope, or in the open. Raises KeygenRefused."""
        if dealer in said.complaints.get(self._place, ()):
            return said.answers[dealer][self._place]
        share = self._opened(seats, said, dealer)
        if share is None:
            raise refused("A share that was checked does not open any more.", "said.dealt")
        return share

    def _is_good(self, seats: Seats, said: Said, dealer: int) -> bool:
        try:
            dealing = dealing_of(seats.session, said, dealer, seats.quorum, seats.old)
        except DealingInvalid:
            return True
        share = self._opened(seats, said, dealer)
        return share is not None and is_share(share, self._place + 1, dealing)

    def _opened(self, seats: Seats, said: Said, dealer: int) -> int | None:
        envelopes = said.dealt[dealer].envelopes
        secret = self._keys.for_public(seats.holders.members[self._place].keys[X25519])
        if secret is None:
            raise refused("This custodian lacks the key that the committee lists.", "session.epoch")
        if len(envelopes) != len(seats.holders.members):
            return None
        info = seats.session.share_info(dealer, self._place)
        try:
            raw = hpke.open_envelope(envelopes[self._place], secret, info)
        except Refusal:
            return None
        return int.from_bytes(raw, "big") if len(raw) == SCALAR_BYTES else None
