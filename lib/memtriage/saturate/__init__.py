"""Many clients at once that make a server use as many workers as it may: does it survive its own limit?

=========  ==============================================================================================
target     the URL, and which hosts may be asked
client     the connections: opened, held with an unfinished request, finished, timed
server     on this host, the server's workers and their memory
report     the words
=========  ==============================================================================================
"""
