#!/usr/bin/env bash
# Four workers, one per node, under SLURM: sbatch deploy/slurm.sh
#
# srun tells each worker about the others. runs/ must be on a file system that all nodes share. One minute before its time
# limit, the job gets a signal to save; requeued or submitted again, it continues from its last checkpoint.
#SBATCH --job-name=zoo-cnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail

# The workers believe only those that know it. Requeued, the job has a new one.
RENDEZVOUS_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RENDEZVOUS_TOKEN

srun --kill-on-bad-exit=1 python -m zoo.train \
    --model cnn --dataset digits --strategy multi_worker --batch-size 128 \
    --checkpoint-every 100 --worker-timeout 600 --resume --output runs/zoo-cnn "$@"
