"""How everything looks: the tokens of the design, the theme made of them, icons. It knows no widget of ours."""
