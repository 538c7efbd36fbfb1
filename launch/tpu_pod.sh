#!/bin/bash
# Trains on all machines of a TPU slice of Google Cloud:
#
#   TPU=my-tpu ZONE=us-west4-a launch/tpu_pod.sh --config configs/... --workdir gs://bucket/W
#
# It copies this folder to every machine, sets up the venv once, and starts one process on each. JAX
# finds the processes by the slice's metadata. Ctrl-C ends the ssh sessions, but not the run: its log
# is ~/big_vlm.log on each machine. STOP=1 launch/tpu_pod.sh makes the run save and end.
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
# Quoted for the remote shell, which would split arguments with spaces and expand brackets.
arguments=$(printf '%q ' "$@")
on_all "cd big_vlm && (nohup .venv/bin/python -m trainers.train $arguments >~/big_vlm.log 2>&1 &
  echo \$! >~/big_vlm.pid; tail --pid=\$! -n +1 -f ~/big_vlm.log)"
