"""Finance's office: what is done with invoices after a month's end, over HTTP.

Owns: the routes of single invoices, credit notes, what finance takes away as files, and a month seen under other prices. Never:
reckons an amount, or decides what may be credited (that is `billing.invoice`'s).
"""
