"""The competition's file: built, checked, scored, and planned within a time limit."""
