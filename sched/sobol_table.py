#!/usr/bin/env python3
"""Writes sobol_table.c, the packed direction numbers of the Sobol sequence.

    sobol_table.py new-joe-kuo-6.21201 > sobol_table.c

Reads Joe and Kuo's text file (https://web.maths.unsw.edu.au/~fkuo/sobol/: a heading,
then lines of d, s, a, m_1 ... m_s), or the same data as SciPy has it
(_sobol_direction_numbers.npz: poly = 2^s + 2 a + 1, vinit). sched/sobol.c unpacks it.
"""
import sys

DIMS = 21201

NOTICE = '''\
/* Direction numbers of the Sobol sequence in 21,201 dimensions, by S. Joe and F. Y. Kuo,
 * "Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci.
 * Comput. 30, 2635-2654 (2008), their file new-joe-kuo-6.21201; repacked. Made by
 * sobol_table.py.
 *
 * Copyright (c) 2008, Frances Y. Kuo and Stephen Joe
 * All rights reserved.
 *
 * Redistribution and use in source and binary forms, with or without
 * modification, are permitted provided that the following conditions are met:
 *
 *     * Redistributions of source code must retain the above copyright
 *       notice, this list of conditions and the following disclaimer.
 *
 *     * Redistributions in binary form must reproduce the above copyright
 *       notice, this list of conditions and the following disclaimer in the
 *       documentation and/or other materials provided with the distribution.
 *
 *     * Neither the names of the copyright holders nor the names of the
 *       University of New South Wales and the University of Waikato
 *       and its contributors may be used to endorse or promote products derived
 *       from this software without specific prior written permission.
 *
 * THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS ``AS IS'' AND ANY
 * EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
 * WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
 * DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDERS BE LIABLE FOR ANY
 * DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
 * (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES;
 * LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND
 * ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
 * (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
 * SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE. */
/* clang-format off */
'''


def read_text(path):
    with open(path, encoding="ascii") as lines:
        next(lines)
        for line in lines:
            _, s, a, *m = map(int, line.split())
            yield s, a, m[:s]


def read_npz(path):
    import numpy

    data = numpy.load(path)
    for poly, row in zip(data["poly"][1:].tolist(), data["vinit"][1:].tolist()):
        s = poly.bit_length() - 1
        yield s, (poly - (1 << s)) >> 1, row[:s]


def pack(rows):
    """An integer whose bit i is bit i of the table, and per degree (dim, first bit)."""
    bits, starts = [], []
    for dim, (s, a, m) in enumerate(rows, start=1):
        while len(starts) < s:
            starts.append((dim, len(bits)))
        assert s == len(starts), "degrees must not fall"
        assert 0 <= a < 1 << (s - 1) or s == 1 and a == 0
        bits += [a >> i & 1 for i in range(s - 1)]
        for i, number in enumerate(m):
            assert number % 2 == 1 and number < 2 << i
            bits += [number >> j & 1 for j in range(1, i + 1)]
    assert dim + 1 == DIMS
    return bits, starts


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = sys.argv[1]
    bits, starts = pack(read_npz(path) if path.endswith(".npz") else read_text(path))
    bits += [0] * (-len(bits) % 64 + 64)  # a last word, so that reading two is safe
    words = [
        sum(bit << i for i, bit in enumerate(bits[at : at + 64]))
        for at in range(0, len(bits), 64)
    ]
    print(NOTICE + '#include "sched/sobol_table.h"\n')
    print(f"const struct sobol_degree sobol_degrees[SOBOL_DEGREES] = {{")
    for dim, bit in starts:
        print(f"    {{{dim}, {bit}}},")
    print("};\n")
    print("const uint64_t sobol_words[] = {")
    for at in range(0, len(words), 4):
        print("".join(f" 0x{word:016x}," for word in words[at : at + 4]))
    print("};")


if __name__ == "__main__":
    main()
