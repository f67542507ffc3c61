"""A trained simulator as a folder: language model, words, scripted chain, known shops, and a manifest that vouches.

model/            what ``save_pretrained`` writes (absent when only the scripted chain was fitted)
text/             the same and a tokenizer, in place of model/, when the language model reads sessions as text
vocabulary.json   the words, with the codebook they belong to
markov.npz        the scripted chain
sessions.npz      training sessions to be played again
response.npz      answers to storefront conditions (absent when none were told)
mixes.npz         what its merchants' mixes have in common (absent when they were too few to tell)
shops.jsonl       the storefronts of the merchants it was trained on
manifest.json     codebook version, model version, form, hashes of all other files, seeds, figures, library versions
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.errors import ModelError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.models.replay import Repertoire
from agent_runtime.models.response import Response
from agent_runtime.population.prior import MixPrior
from agent_runtime.storefront.shop import Shop, read_shops, write_shops
from agent_runtime.vocabulary import Vocabulary

MANIFEST_FILE, VOCABULARY_FILE, CHAIN_FILE, SHOPS_FILE = "manifest.json", "vocabulary.json", "markov.npz", "shops.jsonl"
SESSIONS_FILE = "sessions.npz"
RESPONSE_FILE = "response.npz"
PRIOR_FILE = "mixes.npz"
#: How a language model reads sessions: in the compact words or as text.
COMPACT, TEXT = "compact", "text"
MODEL_FOLDER, TEXT_FOLDER = "model", "text"
_FOLDERS = {COMPACT: MODEL_FOLDER, TEXT: TEXT_FOLDER}

#: The backends a command can name; a model of the text form is one of its own.
LOCAL, MARKOV, REPLAY = "local", "markov", "replay"
BACKENDS = (LOCAL, TEXT, MARKOV, REPLAY)


@dataclass(frozen=True, slots=True)
class Simulator:
    """A loaded simulator: everything but the language model, which ``backend`` loads when it is the one asked for."""

    folder: Path
    version: str
    vocabulary: Vocabulary
    shops: Mapping[str, Shop]
    manifest: Mapping[str, Any]

    @property
    def codebook_version(self) -> str:
        """The codebook whose buyer types it knows."""
        return self.vocabulary.codebook_version

    def backend(self, name: str) -> Backend | Rowwise:
        """Return the backend of that name. Raises ModelError for an unknown one, or for one that is not there."""
        if name == MARKOV:
            return self.chain()
        if name == REPLAY:
            if not (self.folder / SESSIONS_FILE).is_file():
                raise ModelError(f"{self.folder}: holds no training sessions to replay; finetune anew.")
            return Repertoire.load(self.folder / SESSIONS_FILE, self.vocabulary)
        if name not in BACKENDS:
            raise ModelError(f"--backend {name}: not known; choose {', '.join(BACKENDS)}, or openai for `simulate`.")
        return self.model() if name == LOCAL else self.text_model()

    def chain(self) -> MarkovChain:
        """Return the scripted chain."""
        return MarkovChain.load(self.folder / CHAIN_FILE, self.vocabulary)

    def language_model(self) -> Backend:
        """Return the language model of whichever form. Raises ModelError when there is none."""
        return self.text_model() if self.form == TEXT else self.model()

    def model(self) -> Backend:
        """Return the language model of the compact form. Raises ModelError when there is none.

        Only one of another kind than the small one imports torch.
        """
        self._check(COMPACT)
        from agent_runtime.models.small_llama import load_small_llama

        if (small := load_small_llama(self.folder / MODEL_FOLDER, self.vocabulary)) is not None:
            return small
        from agent_runtime.models.local_model import load_local_model

        return load_local_model(self.folder / MODEL_FOLDER, self.vocabulary)

    def to_go_on(self, vocabulary: Vocabulary) -> tuple[Any, Vocabulary]:
        """Return its language model (of transformers, float32) and its words, to learn more by ``finetune``.

        Raises ModelError when there is none of the compact form, or when its buyer types are not the ``vocabulary``'s.
        """
        from agent_runtime.models.new_models import base_model

        if self.form != COMPACT:
            raise ModelError(f"{self.folder}: holds no language model of the compact form to go on from.")
        known = self.vocabulary
        if known.codebook_version != vocabulary.codebook_version:
            raise ModelError(
                f"{self.folder}: knows codebook {known.codebook_version}, the sessions are of "
                f"{vocabulary.codebook_version}; assign with that encoder."
            )
        if known.code_paths != vocabulary.code_paths:
            raise ModelError(f"{self.folder}: taught buyer types or not, as the new sessions must be; see --untyped.")
        return base_model(str(self.folder / MODEL_FOLDER)), known

    def text_model(self) -> Backend:
        """Return the language model that reads text. Raises ModelError when there is none."""
        self._check(TEXT)
        from agent_runtime.text.model import load_text_model

        return load_text_model(self.folder / TEXT_FOLDER, self.vocabulary, self.chain())

    @property
    def form(self) -> str | None:
        """How its language model reads sessions, None when it has none."""
        return next((form for form, folder in _FOLDERS.items() if (self.folder / folder).is_dir()), None)

    def _check(self, form: str) -> None:
        """Raise ModelError unless there is a language model of this form."""
        if self.form == form:
            return
        self.require_language_model()
        backend = TEXT if self.form == TEXT else LOCAL
        raise ModelError(f"{self.folder}: its language model is of the {self.form} form; choose --backend {backend}.")

    def require_language_model(self) -> None:
        """Raise ModelError unless there is a language model, of either form."""
        if self.form is None:
            raise ModelError(
                f"{self.folder}: holds no language model, only the scripted backends; choose {MARKOV} or {REPLAY}, "
                "or finetune without --scripted-only."
            )

    def prior(self) -> MixPrior | None:
        """Return what its merchants' mixes have in common, None when they were too few to tell."""
        path = self.folder / PRIOR_FILE
        return MixPrior.load(path) if path.is_file() else None

    def shops_and(self, observed: Iterable[Shop]) -> list[Shop]:
        """Return the shops it knows, and those observed, which replace what it knew of them."""
        return [*(dict(self.shops) | {shop.merchant_id: shop for shop in observed}).values()]

    def response(self) -> Response | None:
        """Return what it knows of answers to storefront conditions, None when it was told of none."""
        path = self.folder / RESPONSE_FILE
        return Response.load(path) if path.is_file() else None


def check_player(folder: Path, version: str) -> None:
    """Raise ModelError when a simulator is not there, speaks of another codebook, or has no language model."""
    simulator = load_simulator(folder)
    if (known := simulator.codebook_version) != version:
        raise ModelError(f"{folder}: knows codebook {known}, the encoder is {version}; finetune with that encoder.")
    simulator.require_language_model()


def check_target(folder: Path) -> None:
    """Raise ModelError when ``folder`` is something that a simulator must not replace; for asking before training."""
    taken = folder.exists() and not is_simulator(folder)
    if taken and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: holds something that is no simulator; name another folder.")


def write_simulator(
    folder: Path,
    vocabulary: Vocabulary,
    chain: MarkovChain,
    shops: Sequence[Shop],
    model: Any | None,
    fields: Mapping[str, Any],
    sessions: Repertoire | None = None,
    response: Response | None = None,
    form: str = COMPACT,
    prior: MixPrior | None = None,
) -> str:
    """Write a simulator's folder as one step and return its version, a name made from its content.

    ``model`` is a transformers model (a ``TextPair`` where ``form`` is text), or None; ``sessions`` are
    what the backend ``replay`` plays again; ``prior`` is of the mixes of merchants. A simulator that is there already
    is replaced. Raises ModelError when ``folder`` holds something else or cannot be written.
    """
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            fresh = part / "new"
            fresh.mkdir()
            (fresh / VOCABULARY_FILE).write_text(json.dumps(vocabulary.to_json(), indent=1) + "\n")
            chain.save(fresh / CHAIN_FILE)
            write_shops(fresh / SHOPS_FILE, shops)
            if sessions is not None:
                sessions.save(fresh / SESSIONS_FILE)
            if model is not None:
                model.save_pretrained(fresh / _FOLDERS[form])
            if response is not None:
                response.save(fresh / RESPONSE_FILE)
            if prior is not None:
                prior.save(fresh / PRIOR_FILE)
            files = _hashes(fresh)
            version = _version(files)
            manifest = {
                "simulator_version": version,
                "codebook_version": vocabulary.codebook_version,
                **({} if model is None else {"form": form}),
                "files": files,
                **fields,
            }
            (fresh / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n")
            if folder.exists():
                folder.replace(part / "old")
            fresh.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{folder}: the simulator cannot be written ({error.strerror or error}).") from error
    return version


def is_simulator(folder: Path) -> bool:
    """Whether there is a simulator's folder of this name."""
    return (folder / MANIFEST_FILE).is_file() and (folder / VOCABULARY_FILE).is_file()


def load_simulator(folder: Path) -> Simulator:
    """Return a complete, unaltered simulator. Raises ModelError naming the first thing that is not so."""
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text())
        files, version = dict(manifest["files"]), str(manifest["simulator_version"])
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: no simulator there ({MANIFEST_FILE} is missing); run `simpersona finetune`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a simulator's manifest ({error}); finetune anew.") from error
    for name, digest in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: missing from the simulator; copy the whole folder or finetune anew.")
        if _sha256(file) != digest:
            raise ModelError(f"{file}: hash differs from the manifest's; copy the folder again or finetune anew.")
    vocabulary = Vocabulary.from_json(json.loads((folder / VOCABULARY_FILE).read_text()))
    return Simulator(folder, version, vocabulary, read_shops(folder / SHOPS_FILE), manifest)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in files}


def _version(files: Mapping[str, str]) -> str:
    return f"sim-{hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:10]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
