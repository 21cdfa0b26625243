# The commands of the zoo on a CPU. Runs and data are mounted:
#   docker build --tag keras-compression-zoo .
#   docker run --rm --volume "$PWD:/work" keras-compression-zoo train --model cnn
FROM python:3.12-slim

WORKDIR /opt/zoo
COPY pyproject.toml README.md LICENSE ./
COPY zoo zoo
COPY strategies strategies
COPY compression compression
ARG EXTRAS=device
RUN pip install --no-cache-dir ".[${EXTRAS}]" && useradd --create-home worker

USER worker
WORKDIR /work
ENTRYPOINT ["zoo"]
CMD ["--help"]
