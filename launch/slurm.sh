#!/bin/bash
# Trains on SLURM: sbatch --nodes=4 launch/slurm.sh --config configs/... --workdir /shared/W
#
# One task on each node, which takes all of the node's GPUs; --ntasks-per-node=8 on the command line
# makes it one for each. The workdir is on a file system that all nodes see. The run finds its
# processes by SLURM's own variables; a second `sbatch` with the same workdir resumes it.
#SBATCH --job-name=big_vlm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# SIGTERM two minutes before the time is up: the run saves, ends with status 143, and this script
# puts the job back into the queue.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -uo pipefail

PYTHON=${PYTHON:-.venv/bin/python}
cd "${BIG_VLM:-${SLURM_SUBMIT_DIR:-.}}" || exit 1
# Where NCCL picks a network card that does not reach the other nodes: export NCCL_SOCKET_IFNAME.
srun --kill-on-bad-exit=1 "$PYTHON" -m trainers.train "$@"
status=$?
if [ "$status" -eq 143 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
