"""A schedule by hand for everything that the random campaign is to have met.

Random schedules meet the rarest outcomes a few times in five hundred, which is no promise; these meet
each of them every time. A step's numbers are explained where `accounting_patients` and
`accounting_requests` read them; patients 0 to 4 start in class 1, 5 to 8 in class 2, 9 and 10 in class
3, and 11 has granted nothing.
"""

from tests.contracts.accounting_world import Step

# Slot 0 asks for class 1 at its highest cost, which leaves patients 0 and 4 too little for a second time.
OPEN = ("open", 2, 1, 0)
FREEZE = ("progress", 0, 0, 1)  # waits for the notice and the thaw
TIDY, SEAL, SEAL_ALL = ("tidy", 0, 0, 0), ("seal", 0, 0, 0), ("seal", 0, 0, 3)
SETTLE = ("settle", 0, 0, 0)
CERTIFIED, UNCERTIFIED = ("default", 0, 0, 1), ("default", 0, 1, 1)
PAUSE, UNPAUSE = ("pause", 0, 0, 0), ("unpause", 0, 0, 0)
RECLAIM, CANCEL = ("reclaim", 0, 0, 0), ("cancel", 0, 0, 0)
EXODUS, DISSOLVE = ("exodus", 0, 0, 0), ("dissolve", 0, 0, 0)
GRANT = ("grant", 11, 0, 25)  # patient 11, class 1, enough for two requests
POOR = ("grant", 11, 0, 28)  # one nano-rho less than the class's highest cost
REST, WAKE, REVOKE = ("rest", 0, 0, 0), ("wake", 0, 0, 1), ("revoke", 0, 0, 0)
ROTATE, WITHDRAW, CREDIT = ("rotate", 0, 0, 1), ("withdraw", 0, 0, 1), ("withdraw_credit", 0, 0, 1)
SUSPEND, EXPEL, ERASE = ("suspend", 0, 0, 0), ("expel", 0, 0, 1), ("erase", 0, 0, 0)
WAKE_WORDS = ("wake_words", 0, 0, 1)  # waits for the thaw

FROZEN = [OPEN, FREEZE]
SEALED = [*FROZEN, SEAL]
# The first request is in the vault lane, the second in the homomorphic one.
ON_CIPHERTEXT = [OPEN, CANCEL, *SEALED]
SECOND_FREEZE = [*SEALED, SETTLE, *FROZEN]

LIVES: dict[str, list[Step]] = {
    "grant": [GRANT],
    "grant: BudgetTooSmall": [POOR],
    "revoke": [REVOKE],
    "revoke_signed": [("revoke_signed", 0, 0, 0)],
    "rest": [REST],
    "wake": [REST, WAKE],
    "wake_words": [WAKE_WORDS],
    "wake_words_woke": [*FROZEN, GRANT, SEAL, WAKE_WORDS],
    "pass": [("pass", 0, 0, 0)],
    "withdraw": [*SEALED, WITHDRAW],
    "rotate": [ROTATE],
    "rotate: ShardIsFrozen": [*FROZEN, ROTATE],
    "suspend": [SUSPEND],
    "expel": [SUSPEND, EXPEL],
    "erase": [ERASE],
    "attest": [("attest", 0, 0, 0)],
    "open": [OPEN],
    "cancel": [OPEN, CANCEL],
    "freeze": FROZEN,
    "tidy": [*FROZEN, TIDY],
    "tidy_left": [*SECOND_FREEZE, TIDY],
    "seal": SEALED,
    "seal: WordStale": [*SECOND_FREEZE, SEAL],
    "seal: CohortTooSmall": [*FROZEN, EXODUS, SEAL],
    "sealAll": [*FROZEN, SEAL_ALL],
    "settle": [*SEALED, SETTLE],
    "settle again: WrongStage": [*SEALED, SETTLE, SETTLE],
    "settle on ciphertext": [*ON_CIPHERTEXT, SETTLE],
    "settle on ciphertext again: WrongStage": [*ON_CIPHERTEXT, SETTLE, SETTLE],
    "defaultCertified": [*SEALED, CERTIFIED],
    "defaultUncertified": [*SEALED, UNCERTIFIED],
    "reclaim": [*FROZEN, RECLAIM],
    "dissolve": [*FROZEN, EXODUS, DISSOLVE],
    "credit": [OPEN, CANCEL, CREDIT],
    "post_bond": [("bond", 1, 0, 0)],
    "release_bond": [("bond", 0, 0, 0)],
    "pause": [PAUSE],
    "unpause": [PAUSE, UNPAUSE],
    "pause: EnforcedPause": [PAUSE, PAUSE],
    "unpause: ExpectedPause": [UNPAUSE],
}
# What a pause stops, and everything else, which it does not.
STOPPED: dict[str, list[Step]] = {
    "grant: EnforcedPause": [PAUSE, GRANT],
    "wake: EnforcedPause": [REST, PAUSE, WAKE],
    "wake_words: EnforcedPause": [*FROZEN, GRANT, PAUSE, SEAL, WAKE_WORDS],
    "open: EnforcedPause": [PAUSE, OPEN],
    "freeze: EnforcedPause": [OPEN, ("pass", 4, 0, 0), PAUSE, ("freeze", 0, 0, 0)],
}
GOES_ON: dict[str, list[Step]] = {
    "revoke": [PAUSE, REVOKE],
    "revoke_signed": [PAUSE, ("revoke_signed", 0, 0, 0)],
    "rest": [PAUSE, REST],
    "rotate": [PAUSE, ROTATE],
    "erase": [PAUSE, ERASE],
    "suspend": [PAUSE, SUSPEND],
    "expel": [SUSPEND, PAUSE, EXPEL],
    "withdraw": [*SEALED, PAUSE, WITHDRAW],
    "credit": [OPEN, CANCEL, PAUSE, CREDIT],
    "post_bond": [PAUSE, ("bond", 1, 0, 0)],
    "release_bond": [PAUSE, ("bond", 0, 0, 0)],
    "cancel": [OPEN, PAUSE, CANCEL],
    "tidy": [*FROZEN, PAUSE, TIDY],
    "seal": [*FROZEN, PAUSE, SEAL],
    "sealAll": [*FROZEN, PAUSE, SEAL_ALL],
    "settle": [*SEALED, PAUSE, SETTLE],
    "settle on ciphertext": [*ON_CIPHERTEXT, PAUSE, SETTLE],
    "defaultCertified": [*SEALED, PAUSE, CERTIFIED],
    "defaultUncertified": [*SEALED, PAUSE, UNCERTIFIED],
    "reclaim": [*FROZEN, PAUSE, RECLAIM],
    "dissolve": [*FROZEN, EXODUS, PAUSE, DISSOLVE],
}
# What has ended does not end again.
ENDED: dict[str, list[Step]] = {
    "cancel: WrongStage": [OPEN, CANCEL, CANCEL],
    "reclaim: WrongStage": [*FROZEN, RECLAIM, RECLAIM],
    "dissolve: WrongStage": [*FROZEN, EXODUS, DISSOLVE, DISSOLVE],
    "defaultCertified: WrongStage": [*SEALED, CERTIFIED, CERTIFIED],
    "defaultUncertified: WrongStage": [*SEALED, UNCERTIFIED, UNCERTIFIED],
}
BY_HAND = (
    LIVES | STOPPED | ENDED | {f"{action} while paused": life for action, life in GOES_ON.items()}
)
