#!/bin/bash
# Trains on SLURM: sbatch --nodes=4 launch/slurm.sh --config configs/... --workdir /shared/W
#
# Each node runs one task, which uses all of the node's GPUs; with --ntasks-per-node=8 on the command
# line, each of 8 tasks uses one. The workdir is on a file system that all nodes share. JAX finds the
# processes by SLURM's own variables. A second `sbatch` with the same workdir resumes the run.
#SBATCH --job-name=big_vlm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# SLURM sends SIGTERM two minutes before the time limit. The run then saves and ends with status 143,
# and this script puts the job back into the queue.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -uo pipefail

PYTHON=${PYTHON:-.venv/bin/python}
cd "${BIG_VLM:-${SLURM_SUBMIT_DIR:-.}}" || exit 1
# If NCCL picks a network card that does not reach the other nodes, export NCCL_SOCKET_IFNAME.
srun --kill-on-bad-exit=1 "$PYTHON" -m trainers.train "$@"
status=$?
if [ "$status" -eq 143 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
