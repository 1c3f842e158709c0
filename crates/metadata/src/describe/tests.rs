//! Tests of answers from the image.
