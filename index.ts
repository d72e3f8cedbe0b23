/** The demo, for `pulumi up`: its configuration is the stack's. */
import * as pulumi from "@pulumi/pulumi";
import { configOf } from "./components/demo-config";
import { demoProgram } from "./components/demo-program";

export = demoProgram(configOf(new pulumi.Config()));
