//! The one table from errors to gRPC codes and texts.
