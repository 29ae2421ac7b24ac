# The page and the API on a processor:
#   docker build -t digitvision . && docker run --rm -p 7860:7860 digitvision
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 digit
WORKDIR /home/digit/app

# first what changes seldom; --build-arg TORCH_INDEX=... names PyTorch's index for processors, which saves 5 GB of CUDA libraries
COPY requirements.txt ./
ARG TORCH_INDEX
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch>' requirements.txt)" \
 && sed '/^# what only training/,$d' requirements.txt > serving.txt && pip install --no-cache-dir -r serving.txt

COPY answers.py app.py archive.py bounds.py boxes.py calls.py cleaning.py console.py decode.py door.py explain.py fields.py files.py \
     lattice.py model.py page.py page.js page.css paper.py preprocess.py quicker.py recognize.py rules.py segments.py sheet.py signs.py \
     waiting.py MODEL_CARD.md LICENSE ./
COPY weights/ weights/
COPY examples/ examples/

USER digit
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'], timeout=4)"]
CMD ["python", "app.py"]
