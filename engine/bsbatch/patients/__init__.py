"""Patient and study of an examination, as far as rows may hold them."""
