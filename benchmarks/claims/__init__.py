"""Promises of perceptual losses, each by a small controlled experiment: the record that
chapter 12 reads.

    OMP_NUM_THREADS=1 python -m benchmarks.claims --write [SECTION ...]

Sections: misaligned, layers, prior, conditions, convergence, modes and attacks. A
section that the record has is kept, unless it is named. Networks that a section trains
are kept under build/claims, so that one that was interrupted goes on. Forty minutes on
one core with AVX-512, in all.

Each arm has three seeds, each of them another start of the network and other crops; the
numbers of all three are in the record, in the order of the seeds.
"""
