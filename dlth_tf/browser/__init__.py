"""LiteRT files in browsers: a page that runs a dense and a sparse network in turns.

`demonstration` writes it, `litert_js` fetches the engine it needs, `serving` serves both.
"""
