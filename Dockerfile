# The product's command line: worker, web pages, migrations. Encoders are mounted, not built in.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY encoders encoders
COPY streams streams
COPY agent_runtime agent_runtime
COPY infra infra
COPY bench bench
RUN pip install --no-cache-dir --constraint constraints.txt . \
 && useradd --create-home simpersona

USER simpersona
# Compiled functions are kept where this user may write, so that a restarted worker starts quickly.
ENV NUMBA_CACHE_DIR=/home/simpersona/numba \
    OMP_NUM_THREADS=1
WORKDIR /home/simpersona
ENTRYPOINT ["simpersona"]
