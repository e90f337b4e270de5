# The course in a container, the model inside:
#
#     docker build -t decodeloop .
#     docker run --rm -p 127.0.0.1:8888:8888 -v decodeloop-work:/course/work decodeloop
#
# Open the address with the token that it prints. What you write lies in the volume.
FROM python:3.11-slim-bookworm

# make runs the project's own commands; Numba's threads want the system's OpenMP
RUN apt-get update \
    && apt-get install -y --no-install-recommends make libgomp1 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 learner \
    && install --directory --owner learner --group learner /course
USER learner
WORKDIR /course
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1

# what changes seldom comes first: an edited lesson does not bring PyTorch again
COPY --chown=learner Makefile constraints.txt ./
RUN make cpu

COPY --chown=learner . .
RUN make fetch && .venv/bin/decodeloop lab --no-open

EXPOSE 8888
CMD [".venv/bin/decodeloop", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
