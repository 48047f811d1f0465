"""The tests of numbers as other processors run them: with fewer instructions, and other numbers of threads.

    python tests/support/processors.py [arguments of pytest]

Which instructions torch's own loops, oneDNN (convolutions) and MKL (products) use is told to each by a variable of its
environment. Nine runs bring every set of instructions of torch together with every one of the libraries and every
number of threads at least once. What this processor does not have is left out, and said.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from paths import TESTS

ATEN = {"default": "DEFAULT", "avx2": "AVX2", "avx512": "AVX512"}  # ATEN_CPU_CAPABILITY, and what torch says it is
LIBRARIES = {"SSE41": "SSE4_2", "AVX2": "AVX2", "AVX512_CORE": "AVX512"}  # ONEDNN_MAX_CPU_ISA, MKL_ENABLE_INSTRUCTIONS
THREADS = (1, 2, 4)
CODE = "import torch; print(torch.backends.cpu.get_cpu_capability())"


def main(arguments: list[str]) -> int:
    has = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.strip()
    known = list(ATEN.values())
    if has not in known:
        print(f"torch runs with {has} here; the settings are those of x86 processors")
        return 0
    status = 0
    for i, aten in enumerate(ATEN):
        if known.index(ATEN[aten]) > known.index(has):
            print(f"{aten}: left out, this processor has no more than {has}")
            continue
        for j, (onednn, mkl) in enumerate(LIBRARIES.items()):
            threads = THREADS[(i + j) % len(THREADS)]
            setting = {"ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn, "MKL_ENABLE_INSTRUCTIONS": mkl,
                       "OMP_NUM_THREADS": str(threads)}
            start = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "numbers", *arguments],
                                  cwd=TESTS, env={**os.environ, **setting},
                                  capture_output=True, text=True, check=False)
            counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", done.stdout)
            told = " ".join(f"{name}={value}" for name, value in setting.items())
            print(f"{told}: {', '.join(counts)} in {time.monotonic() - start:.0f} s", flush=True)
            if done.returncode:
                print(done.stdout + done.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
