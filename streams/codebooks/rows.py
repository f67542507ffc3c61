"""An encoder's codebook and personas as rows, so that the store can put a name to every code it holds."""

import json
from pathlib import Path

from encoders.artefact import MANIFEST_FILE, read_manifest, read_personas
from streams.store.sink import CodebookRow, PersonaRow, Sink

#: Code of the coarse type 0 in ``personas``; the next ones follow downwards.
COARSE_BELOW = -1


def register_codebook(sink: Sink, folder: Path) -> str:
    """Write the codebook version and the personas of an encoder folder; return the version.

    A coarse type has a row of its own whose code is negative, COARSE_BELOW minus its number, so that no session has it.
    Called when a worker starts and when it swaps to a newer encoder. Idempotent. Raises ArtefactError when the folder
    is no encoder, RetryLater or StoreError as ``Sink.flush``.
    """
    manifest = read_manifest(folder)
    personas = read_personas(folder)
    created_ms = int((folder / MANIFEST_FILE).stat().st_mtime * 1000)
    rows = [
        PersonaRow(
            codebook_version=manifest.codebook_version,
            code=int(persona["code"]),
            code_path=str(persona["code_path"]),
            name=str(persona["name"]),
            sentence=str(persona["sentence"]),
            statistics=json.dumps(persona["statistics"]),
            share=float(persona["share"]),
        )
        for persona in (*personas["codes"], *({"code": COARSE_BELOW - c["coarse"], **c} for c in personas["coarse"]))
    ]
    codebook = CodebookRow(
        codebook_version=manifest.codebook_version,
        created_at=created_ms,
        size=len(personas["codes"]),
        coarse=len(personas["coarse"]),
        manifest=json.dumps(manifest.fields),
        previous_version=str(manifest.fields.get("previous_version", "")),
        code_map=json.dumps(manifest.fields.get("code_map", {}).get("codes", {})),
    )
    sink.codebook(codebook, rows)
    sink.flush()
    return manifest.codebook_version
