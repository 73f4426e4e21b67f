"""
Look before you sign: what a transaction may do, and the checks that it does no more.

Pure but for the account source, which is asked only where a transaction names look-up
tables or accounts that cannot be derived.

What it cannot see is whether the price is good: the least that a trade must bring is
written by whoever built it. A venue's program is trusted to do what its instruction
says, and a program that you vouch for to do anything.
"""
