"""``python -m streams``: a worker with all its settings from the environment, as containers run it."""

import os
import sys

# Each worker is one core's work: more threads in BLAS would only get in the way of the other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pydantic import ValidationError

from schemas.errors import SimpersonaError
from schemas.settings import settings
from streams.log_lines import announce, complain, configure_logging, end_interrupted, hush_store


def main() -> None:
    """Run a worker until SIGTERM or Ctrl-C; a mendable error is one sentence and exit code 2."""
    from streams.worker import run

    try:
        chosen = settings()
        configure_logging(chosen.log_format)
        hush_store()
        run(chosen, ready=lambda port: announce(f"Worker is ready, health page on port {port}.", port=port))
    except SimpersonaError as error:
        complain(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except ValidationError as error:
        wrong = error.errors()[0]
        sentence = f"setting SIMPERSONA_{str(wrong['loc'][0]).upper()} is wrong: {wrong['msg']}."
        complain(sentence, SimpersonaError.exit_code)
        sys.exit(SimpersonaError.exit_code)
    except KeyboardInterrupt:
        end_interrupted()


if __name__ == "__main__":
    main()
