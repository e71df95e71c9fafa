//! What holds now, for everybody who has to know: replaced as a whole while others read.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that is replaced as a whole. Clones see the same one; whoever took it out keeps what it took, so that one
/// piece of work sees one value.
#[derive(Debug)]
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Current<T> {
    /// What holds now.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this holds.
    pub fn set(&self, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> From<Arc<T>> for Current<T> {
    fn from(value: Arc<T>) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_what_was_set_and_what_was_taken_out_stays_as_it_was() {
        let one = Current::from(Arc::new(1));
        let (other, taken) = (one.clone(), one.get());
        other.set(Arc::new(2));
        assert_eq!((*taken, *one.get(), *other.get()), (1, 2, 2));
    }
}
