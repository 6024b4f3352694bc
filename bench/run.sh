#!/usr/bin/env bash
# The measured figures: trains, hardens and assesses on MNIST, races the peers, and rewrites docs/results.md.
# Everything it makes lies in .bench; what is finished there is not done again.  Attacks take under an hour on two quiet cores, the guard some hours more.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${REDOUBT_DATA:-../shared/data}
if ! [ -d "$data/mnist" ]; then
    echo "bench: there is no $data/mnist. Set REDOUBT_DATA to a folder that holds the four MNIST files under mnist/." >&2
    exit 3
fi
REDOUBT_DATA=$(realpath "$data")
export REDOUBT_DATA PYTHONWARNINGS=ignore::FutureWarning,ignore::UserWarning

bin=.bench/venv/bin
stamp=.bench/venv/.installed
if ! [ "$stamp" -nt bench/requirements.txt ] || ! [ "$stamp" -nt bench/requirements-no-deps.txt ] \
    || ! [ "$stamp" -nt pyproject.toml ] || ! [ "$stamp" -nt constraints.txt ]; then
    echo "bench: installing the peers into .bench/venv"
    test -x $bin/python || "${PYTHON:-python3}" -m venv .bench/venv
    pip="$bin/python -m pip install -q --disable-pip-version-check"
    $pip -c constraints.txt torch
    $pip -c constraints.txt -r bench/requirements.txt
    $pip --no-deps -r bench/requirements-no-deps.txt
    $pip -c constraints.txt -e ".[sklearn,onnx,guard]"
    touch $stamp
fi

$bin/python bench/mnist.py
$bin/python bench/zoo.py
$bin/python bench/suite.py   # these three skip by themselves what is done
$bin/python bench/strong.py
for step in certified_model prove; do
    $bin/python -W ignore bench/$step.py  # these skip by themselves what is done
done
for step in peers reference cheaper minimum_norm sets tables invariance harden_cost; do
    if ! [ -e .bench/out/$step.json ]; then
        $bin/python bench/$step.py
    fi
done

$bin/python bench/black_box.py  # skips by itself what is done

# The guard, in the environment that it is tested in: against the same stack without it and MLServer, and its parts.
if ! command -v wrk > /dev/null; then
    echo "bench: wrk is missing, so the guard is not measured under load (Debian: apt-get install wrk)" >&2
else
    if ! [ -e .bench/out/guard_load.json ]; then
        .venv/bin/python bench/guard_load.py
    fi
fi
for step in guard_memory ledger detectors analysers work_factor supply; do
    if ! [ -e .bench/out/$step.json ]; then
        .venv/bin/python bench/$step.py
    fi
done
.venv/bin/python bench/backdoor.py  # skips by itself what is done
.venv/bin/python bench/gallery.py  # skips by itself what is done
.venv/bin/python bench/private.py  # so does this one
.venv/bin/python bench/private_curve.py
.venv/bin/python bench/pate.py
.venv/bin/python bench/memorisation.py
.venv/bin/python bench/update.py  # keeps what it played
.venv/bin/python bench/membership.py  # and this one keeps what it trained
.venv/bin/python bench/poisoning.py  # and so on
$bin/python bench/results.py docs/results.md

# Tests too long for `make test`; 5 means that there are none.
.venv/bin/python -m pytest -m slow || test $? -eq 5
