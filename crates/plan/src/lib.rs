//! Dockerfile to build plan.
