//! Options of S3 for every object that is written.

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption, StorageClass};

use crate::remote::spec::{RemoteSpec, SpecError};

const ACLS: &str = "use private, public-read, public-read-write, authenticated-read, \
    aws-exec-read, bucket-owner-read or bucket-owner-full-control";
const CLASSES: &str = "use STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, REDUCED_REDUNDANCY, EXPRESS_ONEZONE or GLACIER_IR; objects of other classes cannot be read immediately";
const ENCRYPTIONS: &str = "use AES256, aws:kms or aws:kms:KEY";

/// Encryption, access and class of the objects that are written; by default as the bucket has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Storing {
    encryption: Option<Encryption>,
    acl: Option<ObjectCannedAcl>,
    class: Option<StorageClass>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Encryption {
    /// With keys that S3 keeps.
    Aes256,
    /// With a key of AWS KMS: the named one, or that of the account for S3.
    Kms(Option<String>),
}

impl Storing {
    /// Checks the options of a spec.
    pub(in crate::remote) fn parse(spec: &RemoteSpec) -> Result<Self, SpecError> {
        let bad = |option, value: &str, values| SpecError::BadValue {
            option,
            value: value.to_owned(),
            values,
        };
        let encryption = |text: &str| match text {
            "AES256" => Ok(Encryption::Aes256),
            "aws:kms" => Ok(Encryption::Kms(None)),
            _ => match text.strip_prefix("aws:kms:") {
                Some(key) if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    Ok(Encryption::Kms(Some(key.to_owned())))
                }
                _ => Err(bad("sse", text, ENCRYPTIONS)),
            },
        };
        let acl = |text: &str| ObjectCannedAcl::try_parse(text).map_err(|_| bad("acl", text, ACLS));
        let class = |text: &str| match StorageClass::try_parse(text) {
            Ok(StorageClass::Glacier | StorageClass::DeepArchive | StorageClass::Outposts)
            | Err(_) => Err(bad("storage-class", text, CLASSES)),
            Ok(class) => Ok(class),
        };
        Ok(Self {
            encryption: spec.sse.as_deref().map(encryption).transpose()?,
            acl: spec.acl.as_deref().map(acl).transpose()?,
            class: spec.storage_class.as_deref().map(class).transpose()?,
        })
    }

    /// Adds the options to a write.
    pub(super) fn apply(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let (encryption, key) = match self.encryption.clone() {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key),
        };
        request
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .set_acl(self.acl.clone())
            .set_storage_class(self.class.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: RemoteSpec) -> Option<&'static str> {
        match Storing::parse(&spec) {
            Err(SpecError::BadValue { option, .. }) => Some(option),
            _ => None,
        }
    }

    #[test]
    fn values_are_checked_before_the_first_request() {
        for (sse, good) in [
            ("AES256", true),
            ("aws:kms", true),
            ("aws:kms:arn:aws:kms:eu-west-1:123456789012:key/k", true),
            ("aws:kms:", false),
            ("aes256", false),
            ("", false),
        ] {
            let spec = RemoteSpec {
                sse: Some(sse.into()),
                ..RemoteSpec::default()
            };
            assert_eq!(refused(spec).is_none(), good, "{sse}");
        }
        for (acl, good) in [("bucket-owner-full-control", true), ("public", false)] {
            let spec = RemoteSpec {
                acl: Some(acl.into()),
                ..RemoteSpec::default()
            };
            assert_eq!(refused(spec).is_none(), good, "{acl}");
        }
        for (class, good) in [("STANDARD_IA", true), ("GLACIER", false), ("cheap", false)] {
            let spec = RemoteSpec {
                storage_class: Some(class.into()),
                ..RemoteSpec::default()
            };
            assert_eq!(refused(spec).is_none(), good, "{class}");
        }
    }
}
