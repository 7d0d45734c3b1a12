"""The paper's Tables 4 and 5 on other models and data: what rain takes, what comes back.

Run from a checkout.
"""
