"""Learning from sessions: parameters estimated anew on recent bars, at the costs that were really paid, as a proposal.

Nothing here changes what trades. A proposal is a file of its own; a person accepts it, and a session takes parameters
only when it starts.
"""
