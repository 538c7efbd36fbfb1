#!/bin/bash
# Trains on all machines of a TPU slice of Google Cloud:
#
#   TPU=my-tpu ZONE=us-west4-a launch/tpu_pod.sh --config configs/... --workdir gs://bucket/W
#
# Copies this folder to every machine, sets up its venv there once, and starts one process on each;
# they find each other by the slice's metadata. Ctrl-C here ends the ssh sessions, not the run: its
# output is in ~/big_vlm.log on each machine, and STOP=1 launch/tpu_pod.sh ends it (saved).
set -euo pipefail

: "${TPU:?the name of the TPU VM or of the queued resource}" "${ZONE:?its zone}"
JAX=${JAX:-0.10.2}

on_all() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "$1"
}

if [ -n "${STOP:-}" ]; then
  on_all "kill -TERM \$(cat ~/big_vlm.pid)"
  exit
fi

git archive --format=tar.gz -o /tmp/big_vlm.tar.gz HEAD
gcloud compute tpus tpu-vm scp /tmp/big_vlm.tar.gz "$TPU:" --zone "$ZONE" --worker=all
on_all "mkdir -p big_vlm && tar xzf big_vlm.tar.gz -C big_vlm && cd big_vlm &&
  if [ ! -e .venv/installed ]; then
    (command -v python3.11 || sudo apt-get -qq install -y python3.11-venv) &&
    python3.11 -m venv .venv &&
    .venv/bin/pip install -q -r requirements.txt gcsfs 'jax[tpu]==$JAX' && touch .venv/installed
  fi"
# Quoted for the remote shell, so that arguments with spaces and brackets arrive as they are.
arguments=$(printf '%q ' "$@")
on_all "cd big_vlm && (nohup .venv/bin/python -m trainers.train $arguments >~/big_vlm.log 2>&1 &
  echo \$! >~/big_vlm.pid; tail --pid=\$! -n +1 -f ~/big_vlm.log)"
