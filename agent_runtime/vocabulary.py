"""The words of a simulator: one token per buyer type, per action and per pause, and nothing else.

A session is written as

    <4 storefront flags> <coarse type> <buyer type> <device> <referrer> <moment> a1 (a2 p2) (a3 p3) … <leave>

where ``p`` is the pause before its action. The flags and the buyer type are given, the rest is the shopper's. Ids
start at ``offset``, so that the same words can be appended to the vocabulary of a larger language model.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agent_runtime.errors import ModelError
from agent_runtime.storefront.actions import ACTIONS, MOMENTS, PACES
from agent_runtime.storefront.capabilities import FLAG_GROUPS
from schemas.taxonomy import DEVICES, REFERRERS

Tokens = npt.NDArray[np.int64]

PAD, LEAVE = "<pad>", "<leave>"
#: Session traits drawn before the first action: device, referrer, moment.
TRAITS = 3
#: A longer session is told, and played, only up to here.
MAX_EVENTS = 64


@dataclass(frozen=True)
class Vocabulary:
    """Token names in order. ``code_paths`` are the codebook's, code by code: "c03" or "c03.f2"."""

    codebook_version: str
    code_paths: tuple[str, ...]
    offset: int = 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All token names; a token's id is its place here plus ``offset``."""
        flags = (f"<shop{g}:{bits}>" for g, group in enumerate(FLAG_GROUPS) for bits in range(1 << len(group)))
        return (
            PAD,
            LEAVE,
            *(action.name for action in ACTIONS),
            *(f"<pace{bucket}>" for bucket in range(PACES)),
            *(f"<device:{name}>" for name in DEVICES),
            *(f"<from:{name}>" for name in REFERRERS),
            *(f"<moment{moment}>" for moment in range(MOMENTS)),
            *flags,
            *self.personas,
        )

    @cached_property
    def personas(self) -> tuple[str, ...]:
        """The buyer types' tokens: coarse types first, where the codebook has two levels, then all types."""
        coarse = sorted({path.partition(".")[0] for path in self.code_paths if "." in path})
        return tuple(f"<{name}>" for name in (*coarse, *self.code_paths))

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def id(self, name: str) -> int:
        """Return the id of a token by name. Raises ModelError when there is none."""
        if name not in self._place:
            raise ModelError(f"The simulator of codebook {self.codebook_version} has no token {name}; finetune anew.")
        return self._place[name] + self.offset

    @property
    def pad(self) -> int:
        """Id that fills up shorter sessions."""
        return self.id(PAD)

    @property
    def leave(self) -> int:
        """Id of leaving the shop: it ends a session."""
        return self.id(LEAVE)

    def action(self, action: int) -> int:
        """Return the id of an action by its place in ``ACTIONS``."""
        return self.id(ACTIONS[action].name)

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """First id and end of the tokens of each kind: action, pace, device, referrer, moment."""
        spans = {}
        for kind, first, size in (
            ("action", ACTIONS[0].name, len(ACTIONS)),
            ("pace", "<pace0>", PACES),
            ("device", f"<device:{DEVICES[0]}>", len(DEVICES)),
            ("referrer", f"<from:{REFERRERS[0]}>", len(REFERRERS)),
            ("moment", "<moment0>", MOMENTS),
        ):
            spans[kind] = (self.id(first), self.id(first) + size)
        return spans

    def prompt(self, flags: Sequence[int], code: int) -> list[int]:
        """Return the given beginning of a session: the storefront's flags, then the buyer type, coarse part first.

        Raises ModelError when the codebook has no such code.
        """
        if not 0 <= code < len(self.code_paths):
            raise ModelError(f"Codebook {self.codebook_version} has codes 0 to {len(self.code_paths) - 1}, not {code}.")
        words = [f"<shop{group}:{bits}>" for group, bits in enumerate(flags)]
        return [self.id(word) for word in [*words, *self.persona(code)]]

    def persona(self, code: int) -> list[str]:
        """Return the names of a buyer type's tokens, coarse part first."""
        path = self.code_paths[code]
        coarse, _, fine = path.partition(".")
        return [*([f"<{coarse}>"] if fine else []), f"<{path}>"]

    @property
    def fine(self) -> int:
        """Codes under each coarse type; 1 where the codebook is flat."""
        return len(self.code_paths) // len({path.partition(".")[0] for path in self.code_paths})

    @property
    def prompt_length(self) -> int:
        """Tokens of every prompt: the same for all codes of a codebook."""
        return len(FLAG_GROUPS) + (2 if any("." in path for path in self.code_paths) else 1)

    @property
    def longest(self) -> int:
        """Most tokens that a session can take."""
        return self.prompt_length + TRAITS + 2 * MAX_EVENTS

    @property
    def spoken(self) -> slice:
        """Where the words stand among all that a language model can say."""
        return slice(self.offset, self.offset + len(self))

    def targets(self, ids: Tokens, ignored: int) -> Tokens:
        """Return the places of a batch's own words (B, T) in ``spoken``, ``ignored`` for prompts and padding."""
        targets = np.where(ids == self.pad, ignored, ids - self.offset)
        targets[:, : self.prompt_length] = ignored
        return targets

    def stand_ins(self, seen: Set[int]) -> dict[int, list[int]]:
        """Return which seen words an unseen one of a prompt takes its meaning from; see ``finetune``.

        A combination of capabilities takes those that differ from it in the fewest, a finer type the others of its
        coarse one; a word without any such is left out.
        """
        found: dict[int, list[int]] = {}
        for group, members in enumerate(FLAG_GROUPS):
            words = [self.id(f"<shop{group}:{bits}>") for bits in range(1 << len(members))]
            known = [bits for bits, word in enumerate(words) if word in seen]
            for bits, word in enumerate(words):
                if known and word not in seen:
                    fewest = min((bits ^ other).bit_count() for other in known)
                    found[word] = [words[other] for other in known if (bits ^ other).bit_count() == fewest]
        siblings: dict[str, list[int]] = {}
        for path in self.code_paths:
            siblings.setdefault(path.partition(".")[0], []).append(self.id(f"<{path}>"))
        for finer in siblings.values():
            read = [word for word in finer if word in seen]
            found |= {word: read for word in finer if read and word not in seen}
        return found

    def untyped(self) -> "Vocabulary":
        """Return the words of a model without persona tokens: one type for everybody."""
        return Vocabulary(self.codebook_version, ("c00",))

    def to_json(self) -> dict[str, Any]:
        """Return what a folder keeps; ``names`` is there for readers, and checked on the way back."""
        return {
            "codebook_version": self.codebook_version,
            "code_paths": list(self.code_paths),
            "offset": self.offset,
            "names": list(self.names),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Vocabulary":
        """Return the vocabulary of ``to_json``. Raises ModelError when this release would name its tokens otherwise."""
        vocabulary = Vocabulary(value["codebook_version"], tuple(value["code_paths"]), int(value["offset"]))
        if list(vocabulary.names) != value["names"]:
            raise ModelError("The simulator was trained by another release, whose words differ; finetune anew.")
        return vocabulary
