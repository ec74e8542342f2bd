"""Code that training judges with and the API serves with.

This folder exists twice, in t5_training/t5sum/ and in topic_sum_api/topic_sum/inference/, and a test compares
the two byte for byte: what is evaluated is what is served. Change it in one place and copy the folder to the
other. It imports nothing of either sibling.
"""
