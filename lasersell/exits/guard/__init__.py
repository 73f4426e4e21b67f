"""
Look before you sign: what a transaction may do, and the checks that it does no more.

Pure but for the account source, which is asked only where a transaction names look-up
tables or accounts that cannot be derived.
"""
