"""Which people somebody in danger can turn to.

Knows: public numbers. Does not know: who is in danger (``dataset.rules.safety``). A number that changes is
changed here alone.
"""

CRISIS_LINE, HELPLINES = "12356", "findahelpline.com"  # psychological aid in mainland China; elsewhere
EMERGENCY = "120"  # mainland China
