//! The use cases, one per file, in the words of the product.
