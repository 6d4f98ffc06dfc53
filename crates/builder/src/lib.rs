//! Carries out a build request.
