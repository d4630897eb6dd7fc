# The book and its package: docker build -t pltutorial . && docker run -p 8888:8888 pltutorial
# With an NVIDIA GPU: docker run --gpus all -p 8888:8888 pltutorial; PyTorch for Linux brings CUDA's libraries.
# Without one, 5 GB less: docker build --build-arg TORCH_INDEX=... with the address of the CPU builds that
# PyTorch's "Get started" page gives.
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

ARG TORCH_INDEX=
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends make git chromium fonts-dejavu fonts-noto-color-emoji \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --shell /bin/bash reader
WORKDIR /home/reader/pltutorial
RUN chown reader:reader .
USER reader
COPY --chown=reader:reader . .
# hadolint ignore=SC2046
RUN python -m venv .venv \
 && if [ -n "$TORCH_INDEX" ]; then \
      .venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" \
        $(sed -nE 's/^(torch|torchvision)==([0-9.]+).*/\1==\2/p' requirements.lock | sort -u); \
    fi \
 && make setup EXTRAS=book,export,metrics,test,train,video PIP_ARGS=--no-cache-dir
EXPOSE 8888
# JupyterLab asks for the token that it prints.
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
