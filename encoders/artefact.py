"""The encoder artefact: a folder with the network, the codebook, the personas and a manifest that vouches for them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.codebook import Codebook
from encoders.errors import ArtefactError
from encoders.feature_spec import feature_spec_hash

NETWORK_FILE = "encoder.onnx"
CODEBOOK_FILE = "codebook.npz"
PERSONAS_FILE = "personas.json"
MANIFEST_FILE = "manifest.json"
_VOUCHED = (NETWORK_FILE, CODEBOOK_FILE, PERSONAS_FILE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says that a program must know; the rest is in ``fields``."""

    codebook_version: str
    feature_spec: str
    files: Mapping[str, str]
    fields: Mapping[str, Any]


def content_version(network: bytes, codebook: bytes) -> str:
    """Return the codebook version: named by what decides a code, so that equal encoders have equal names."""
    digest = hashlib.sha256(network + codebook + feature_spec_hash().encode()).hexdigest()
    return f"cb-{digest[:10]}"


def check_target(folder: Path) -> None:
    """Raise ArtefactError when ``folder`` is something that an encoder must not replace; for asking before training."""
    # A simulator's folder has a manifest too.
    taken = folder.exists() and not all((folder / name).is_file() for name in (MANIFEST_FILE, NETWORK_FILE))
    if taken and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtefactError(f"{folder}: holds something that is no encoder; name another folder.")


def write_artefact(
    folder: Path,
    network: bytes,
    codebook: Codebook,
    personas: Mapping[str, Any],
    fields: Mapping[str, Any],
    documents: Callable[[str], Mapping[str, str]] = lambda version: {},
) -> Manifest:
    """Write an artefact folder as one step: ``folder`` is either as before or complete.

    ``documents`` makes texts for people of the codebook version, by file name; nothing that runs reads them.
    An artefact that is there already is replaced; anything else there is left alone. Raises ArtefactError when
    ``folder`` holds something else or cannot be written.
    """
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            return _write(part, folder, network, codebook, personas, fields, documents)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ArtefactError(f"{folder}: the encoder cannot be written ({error.strerror or error}).") from error


def _write(
    part: Path,
    folder: Path,
    network: bytes,
    codebook: Codebook,
    personas: Mapping[str, Any],
    fields: Mapping[str, Any],
    documents: Callable[[str], Mapping[str, str]],
) -> Manifest:
    fresh, old = part / "new", part / "old"
    fresh.mkdir()
    (fresh / NETWORK_FILE).write_bytes(network)
    codebook.save(fresh / CODEBOOK_FILE)
    version = content_version(network, (fresh / CODEBOOK_FILE).read_bytes())
    (fresh / PERSONAS_FILE).write_text(_json({"codebook_version": version, **personas}))
    files = {name: _sha256(fresh / name) for name in _VOUCHED}
    manifest = {"codebook_version": version, "feature_spec": feature_spec_hash(), "files": files, **fields}
    (fresh / MANIFEST_FILE).write_text(_json(manifest))
    for name, text in documents(version).items():
        (fresh / name).write_text(text)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    return Manifest(version, feature_spec_hash(), files, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest, checking nothing but its form. Raises ArtefactError."""
    path = folder / MANIFEST_FILE
    try:
        fields = json.loads(path.read_text())
        return Manifest(fields["codebook_version"], fields["feature_spec"], dict(fields["files"]), fields)
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{folder}: no encoder there ({MANIFEST_FILE} is missing); run `simpersona train`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path}: not an encoder's manifest ({error}); train the encoder anew.") from error


def check_artefact(folder: Path) -> Manifest:
    """Return the manifest of a folder that is complete, unaltered and of this release's features.

    Raises ArtefactError naming the first thing that is not so.
    """
    manifest = read_manifest(folder)
    for name in _VOUCHED:
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"{path}: missing from the encoder; copy the whole folder or train anew.")
        if _sha256(path) != manifest.files.get(name):
            raise ArtefactError(f"{path}: hash differs from the manifest's; copy the folder again or train anew.")
    if manifest.feature_spec != feature_spec_hash():
        raise ArtefactError(f"{folder}: trained on other features than this release computes; train the encoder anew.")
    return manifest


def read_personas(folder: Path) -> dict[str, Any]:
    """Return the descriptors of an artefact that was checked. Raises ArtefactError when they cannot be read."""
    try:
        return dict(json.loads((folder / PERSONAS_FILE).read_text()))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{folder / PERSONAS_FILE}: cannot be read ({error}); train the encoder anew.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
