"""Linearizability: is there one legal order of all operations that real time does not contradict?"""
